"""Makes the first platform operator: `python -m control_plane.system.bootstrap`.

Run by the stack after the migrations; repeating it changes nothing.
"""

from control_plane.access.users.repository import UserRepository
from control_plane.access.users.service import create_user, make_operator
from control_plane.audit.service import SYSTEM, PlatformAuditLog
from control_plane.core.clock import utc_now
from control_plane.core.database import make_engine, make_session_factory, transaction
from control_plane.settings import Settings, get_settings


def bootstrap(settings: Settings) -> bool:
    """Creates the operator that the settings name, and returns whether it was missing."""
    if settings.operator_email is None or settings.operator_password is None:
        return False
    email = settings.operator_email.strip().lower()
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with transaction(make_session_factory(engine)) as session:
            if UserRepository(session).find_by_email(email) is not None:
                return False
            create_user(session, email, settings.operator_password.get_secret_value())
            user = make_operator(session, email)
            # Whoever runs the deployment has chosen the address.
            user.email_verified_at = utc_now()
            log = PlatformAuditLog(session, SYSTEM)
            log.record("create", "operator", user.id, new={"email": user.email})
            return True
    finally:
        engine.dispose()


if __name__ == "__main__":
    bootstrap(get_settings())
