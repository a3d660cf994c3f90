"""What people see of a run. Take it away and no result changes."""
