"""What CI systems read: annotations, SARIF, JUnit, code quality, summaries. Values in, texts out."""
