"""A search for hyper-parameters: its runs, its description, its page, its screen."""
