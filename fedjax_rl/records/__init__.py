"""What is written: run directories, checkpoints, and sinks of rows."""
