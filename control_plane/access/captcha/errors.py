"""How a captcha refuses."""

from control_plane.core.errors import Forbidden, Unavailable


class CaptchaFailed(Forbidden):
    """No captcha token, or none that proves a person."""

    code = "captcha_failed"
    title = "Captcha refused"


class CaptchaUnavailable(Unavailable):
    """The captcha cannot be verified, so nobody is let in."""

    code = "captcha_unavailable"
    title = "Captcha not available"
