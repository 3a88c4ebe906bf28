"""What is tried before anybody pays for a whole run."""
