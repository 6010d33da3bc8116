"""The application in the process of a test, without a server and without its background tasks."""

from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.dependencies import Studio
from api.settings import ApiSettings
from broker.connection import Broker


class App:
    """The application on some broker, without its background tasks."""

    def __init__(self, folder: Path, broker: Broker, *, insecure: bool = True) -> None:
        settings = ApiSettings(state_dir=folder, insecure_no_auth=insecure)
        self.app: FastAPI = create_app(settings, broker.settings)
        self.parts = Studio(settings, broker)
        self.app.state.studio = self.parts
        transport = httpx.ASGITransport(app=self.app, client=("192.0.2.1", 1), raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://studio")

    async def ok(self, method: str, path: str, **given: Any) -> Any:
        answer = await self.http.request(method, path, **given)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()
