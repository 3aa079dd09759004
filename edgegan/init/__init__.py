"""From a class and a checkpoint to a recipe: what can be found out is, and what is guessed is marked."""
