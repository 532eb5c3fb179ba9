"""Measures how fast Petitbleu is, always beside something else. README.md says what each figure means."""
