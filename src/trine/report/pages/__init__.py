"""The pages: a report, a comparison of reports, and labels that are probably wrong."""
