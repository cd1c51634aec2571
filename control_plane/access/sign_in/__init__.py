"""Sign-up, sign-in, renewal and sign-out, by REST."""
