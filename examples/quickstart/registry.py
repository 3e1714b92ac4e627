"""The jobs of this application: what each is called, takes and returns. Producer and worker share it."""

from pydantic import BaseModel

from osqueue import Registry


class Email(BaseModel):
    to: str
    subject: str


class Receipt(BaseModel):
    message_id: str


class Thumbnail(BaseModel):
    image: str
    width: int = 320


registry = Registry()
email = registry.job("email", Email, Receipt)
thumbnail = registry.job("thumbnail", Thumbnail)
