"""What is minimized: small functions, each with its paper."""
