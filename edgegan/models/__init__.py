"""Reference generators and discriminators, one family a file."""
