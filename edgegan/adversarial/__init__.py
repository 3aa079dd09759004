"""What adversarial training of teachers and of students has in common."""
