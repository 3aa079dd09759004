"""A run's folder as types: those who write its files, and the page that reads them, share what is here."""
