"""The jobs of this application; the web process submits them, the worker does them."""

from pydantic import BaseModel

from osqueue import Registry


class Report(BaseModel):
    customer: int
    year: int


registry = Registry()
report = registry.job("report", Report)
