"""What every feature stands on: database, errors, encryption, time, pages. Knows no feature."""
