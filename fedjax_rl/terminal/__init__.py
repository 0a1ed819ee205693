"""What people see while something runs, on whatever terminal there is."""
