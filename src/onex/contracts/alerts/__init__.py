"""What a file of alerts says: rules on measured signals, objectives over windows, and who is told."""
