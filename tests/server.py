"""The S3 server of the tests: that of `make s3`, in a project grown for it, and its failures."""

import json
import os
import signal
from pathlib import Path

import boto3
import psutil
from botocore.config import Config
from workshop import Project, grow


class Server:
    """A real S3 server with one bucket; projects get a folder each."""

    def __init__(self, folder: Path) -> None:
        self.home = grow(folder, scope="team")
        self.start()

    def start(self, *more: str) -> None:
        """Start it as a user does; with more arguments as the last time, plus these."""
        if more:
            command = self.command
            self.process = psutil.Popen(
                [*command, *more], cwd=self.home.path / ".tools/s3", env=os.environ, start_new_session=True
            )
            return
        self.home.run("make", "s3")
        self.process = psutil.Process(self.state["pid"])
        self.command = self.process.cmdline()

    def kill(self) -> None:
        """End it at once, as a failing machine does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """Stop it as a user does."""
        self.home.run("make", "s3-stop")

    @property
    def state(self) -> dict:
        """What it noted of itself: process, ports, keys."""
        return json.loads(self.home.text(".tools/s3/server.json"))

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.state['ports']['s3.port']}"

    @property
    def keys(self) -> dict[str, str]:
        """Its keys, as DVC names them."""
        return {"access_key_id": self.state["key"], "secret_access_key": self.state["secret"]}

    def client(self) -> object:
        """A client of its own, to look and to do harm behind DVC's back."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.state["key"],
            aws_secret_access_key=self.state["secret"],
            config=Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=20),
        )

    def objects(self, folder: str) -> dict[str, int]:
        """The objects in a folder of the bucket, and their sizes."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket="dvc", Prefix=f"{folder}/")
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def project(self, folder: Path, name: str) -> Project:
        """A new project that has this server as its remote, committed."""
        project = grow(folder, scope="team", dvc_remote=f"s3://dvc/{name}")
        for setting, value in {"endpointurl": self.endpoint, "region": "us-east-1"}.items():
            project.run("dvc", "remote", "modify", "storage", setting, value)
        (project.path / "dvc.yaml").unlink()  # what never ran cannot be pulled
        self.let_in(project)
        project.commit("Begin")
        return project

    def let_in(self, project: Project, **settings: str) -> None:
        """Write the keys, or other private settings, where a user keeps them."""
        lines = "".join(f"    {key} = {value}\n" for key, value in (self.keys | settings).items() if value)
        (project.path / ".dvc/config.local").write_text(f"['remote \"storage\"']\n{lines}", encoding="utf-8")

    def clone(self, project: Project, folder: Path) -> Project:
        """A fresh clone in which somebody else is at home."""
        clone = Project(folder / project.path.name, folder / "home")
        folder.mkdir()
        project.run("git", "clone", "--quiet", str(project.path), str(clone.path))
        self.let_in(clone)
        return clone
