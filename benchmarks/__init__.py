"""Measures how fast Petitbleu is, always against something else in the same run. README.md says what each figure means."""
