"""reCAPTCHA v3 on sign-in and sign-up: off unless both keys are set, and closed when it fails."""
