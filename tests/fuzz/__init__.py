"""Every decoder fed with what nobody meant it to read: mutations of good input, and noise."""
