"""Brings an invitation's link to the person: by mail, or through whoever has invited.

The token stands in the link's fragment, which a browser sends to no server: no log has it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.invitation_store.repository import InvitationRepository
from control_plane.access.invitations.errors import InvitationNotMailed
from control_plane.access.invitations.service import IssuedInvitation
from control_plane.access.throttling.service import Limit, Throttle, ThrottleDep
from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.dependencies import MailerDep, SessionFactoryDep, SettingsDep
from control_plane.core.errors import DatanikaError
from control_plane.core.mail import Mailer

MAILS_PER_ORG = 100
MAIL_WINDOW = timedelta(hours=1)
MAIL = """\
{inviter} invites you to become {role} of {org} on Datanika.

Open this link to accept. It works once, until {expires_at}:

{link}

If you do not know what this is about, ignore this mail: nothing happens.
"""


@dataclass(frozen=True)
class Delivery:
    """Delivers links of invitations that are committed: a mail cannot be taken back.

    Attributes:
        factory: Makes the transaction that notes when a link was mailed.
        mailer: Sends it, where a mail server is set.
        public_url: Where people reach the platform.
        throttle: Counts mails.
    """

    factory: sessionmaker[Session]
    mailer: Mailer
    public_url: str
    throttle: Throttle

    def count_mail(self, org_id: int) -> None:
        """Counts a mail that an org is about to have sent.

        Raises:
            Throttled: The org has had too many sent: its members could otherwise fill anybody's
                mailbox in the platform's name.
        """
        if self.mailer.is_configured:
            self.throttle.count(Limit("invitation_mails", str(org_id), MAILS_PER_ORG, MAIL_WINDOW))

    def deliver(self, issued: IssuedInvitation, org_name: str, inviter: str) -> str | None:
        """Mails the link, or returns it where there is no mail server.

        Args:
            issued: Committed.
            org_name: What the person is invited to.
            inviter: By whom.

        Raises:
            InvitationNotMailed: The mail server did not take it; the invitation stays.
        """
        row = issued.row
        link = f"{self.public_url.rstrip('/')}/invitation#token={issued.token}"
        if not self.mailer.is_configured:
            return link
        text = MAIL.format(
            inviter=inviter,
            role=row.role,
            org=" ".join(org_name.split()),
            expires_at=f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
            link=link,
        )
        try:
            self.mailer.send(row.email, f"Invitation to {org_name}", text)
        except DatanikaError as error:
            raise InvitationNotMailed(
                f"{row.email} has the invitation {row.id}, but no mail: {error.detail} "
                "Renew the invitation to try again."
            ) from None
        with transaction(self.factory, row.org_id) as session:
            stored = InvitationRepository(session, row.org_id).find(row.id)
            # Renewed meanwhile: then the mail that was sent has a link that has ended.
            if stored is not None and stored.token_hash == row.token_hash:
                stored.mailed_at = row.mailed_at = utc_now()
        return None


async def _get_delivery(
    factory: SessionFactoryDep, mailer: MailerDep, settings: SettingsDep, throttle: ThrottleDep
) -> Delivery:
    return Delivery(factory, mailer, settings.public_url, throttle)


DeliveryDep = Annotated[Delivery, Depends(_get_delivery)]
