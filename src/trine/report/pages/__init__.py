"""The pages: a report, several reports side by side, and labels that are probably wrong."""
