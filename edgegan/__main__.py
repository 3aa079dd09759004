"""`python -m edgegan`: the command, where its script is not on the path."""

from edgegan.cli import main

main()
