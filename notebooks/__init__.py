"""The theory, checked: every notebook states a claim, runs it, draws it and asserts it."""
