"""The images on every machine that trains: in memory, or in a file that Ray Data fills."""
