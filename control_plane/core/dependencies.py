"""What endpoints ask FastAPI for: settings, the vault, and the request's one transaction.

These are coroutines although they wait for nothing: FastAPI calls a plain function in a thread of
its pool, and each such hop costs more than the function itself.
"""

from collections.abc import AsyncGenerator
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from control_plane.core.mail import Mailer
from control_plane.core.places import Places
from control_plane.core.tasks import TaskRunner
from control_plane.core.vault import Vault
from control_plane.settings import Settings


def get_session_factory(request: HTTPConnection) -> sessionmaker[Session]:
    """Returns the application's session factory."""
    return cast("sessionmaker[Session]", request.app.state.session_factory)


async def get_session(request: Request) -> AsyncGenerator[Session]:
    """Gives the request its transaction, committed before the response is sent.

    With FastAPI's default scope the commit would come after the response, and a failed commit
    would look like success. What talks to the database runs in a thread.

    Raises:
        Unavailable: Too many requests hold one.
    """
    async with cast("Places", request.app.state.places).take():
        session = get_session_factory(request)()
        try:
            yield session
        except BaseException:
            await run_in_threadpool(session.close)
            raise
        await run_in_threadpool(_commit, session)


def _commit(session: Session) -> None:
    with session:
        session.commit()


async def _session_factory(request: Request) -> sessionmaker[Session]:
    return get_session_factory(request)


async def _get_vault(request: Request) -> Vault:
    return cast("Vault", request.app.state.vault)


async def _get_settings(request: Request) -> Settings:
    return cast("Settings", request.app.state.settings)


async def _get_task_runner(request: Request) -> TaskRunner:
    return cast("TaskRunner", request.app.state.task_runner)


async def _get_mailer(request: Request) -> Mailer:
    return cast("Mailer", request.app.state.mailer)


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
SessionFactoryDep = Annotated["sessionmaker[Session]", Depends(_session_factory)]
VaultDep = Annotated[Vault, Depends(_get_vault)]
SettingsDep = Annotated[Settings, Depends(_get_settings)]
TaskRunnerDep = Annotated[TaskRunner, Depends(_get_task_runner)]
MailerDep = Annotated[Mailer, Depends(_get_mailer)]
