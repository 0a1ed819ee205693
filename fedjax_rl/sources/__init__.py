"""Where problems and tasks come from: names, files, factories, objects."""
