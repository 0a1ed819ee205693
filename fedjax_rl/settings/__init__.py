"""Settings: declared once, checked once, read once."""
