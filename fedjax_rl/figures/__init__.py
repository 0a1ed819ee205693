"""Figures as plain data, described once; ``png`` draws them as files, the report on a page."""
