"""What a job refuses, and how serious that is."""


class Refused(Exception):
    """Something that was asked for cannot be done; the message is for the administrator.

    `status`, of HTTP: 409 if it cannot be done now, 422 if it cannot be done with what was sent, 404 for no such job.
    """

    def __init__(self, sentence: str, status: int = 422):
        super().__init__(sentence)
        self.status = status
