# One image for every process of the platform; docker-compose.yml says which one a container runs.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /opt/datanika
COPY requirements.lock ./
RUN /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY control_plane control_plane
COPY datanika_manifest datanika_manifest
COPY datanika_dagster datanika_dagster
COPY datanika_stack datanika_stack
# Editable: the migrations and Alembic's configuration lie beside the packages.
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation -e .

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/datanika datanika \
    && install -d -o datanika -g datanika -m 0700 /var/lib/datanika /var/lib/datanika/dagster \
       /var/lib/datanika/dbt_projects /run/datanika /run/datanika/provisioner /run/datanika/keys /run/datanika/code \
       /run/datanika/workers /run/datanika/logins
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/datanika /opt/datanika
COPY alembic.ini /opt/datanika/
COPY migrations /opt/datanika/migrations
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/datanika \
    DATANIKA_HOME=/var/lib/datanika \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER datanika
WORKDIR /var/lib/datanika
CMD ["datanika", "--help"]
