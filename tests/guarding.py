"""Servers that ask who you are, and the commands that make tokens."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import requests

from serving import Server

ROLES = ("read", "write", "segment", "admin")


@dataclass
class Commands:
    """The `engram` executable, over a data folder."""

    binary: Path
    data: Path

    def __call__(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run([self.binary, *arguments], capture_output=True, text=True, timeout=120, **options)

    def tokens(self, *arguments: str) -> subprocess.CompletedProcess:
        return self("tokens", *arguments, "--data", str(self.data))

    def token(self, name: str, *roles: str) -> str:
        """Makes a token, and answers its text."""
        done = self.tokens("add", name, *(word for role in roles for word in ("--role", role)))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refusal_to_serve(self, config: str, *arguments: str) -> str:
        """What `engram serve` says when it does not start."""
        file = self.data.parent / "refused.toml"
        file.write_text(config)
        done = self("serve", "--config", str(file), "--data", str(self.data), *arguments)
        assert done.returncode == 1, "it started"
        return done.stderr


@dataclass
class Guarded:
    """A server with a token for each role, by the role's name."""

    server: Server
    tokens: dict[str, str]

    def request(self, method: str, path: str, role: str | None = None, **options) -> requests.Response:
        headers = {**({"Authorization": f"Bearer {self.tokens[role]}"} if role else {}), **options.pop("headers", {})}
        # A stream of events has no end: bodies are read where they are looked at.
        options.setdefault("stream", True)
        return requests.request(method, self.server.base + path, headers=headers, timeout=60, **options)
