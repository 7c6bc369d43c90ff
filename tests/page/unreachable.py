"""A server with a rule that sends to a node that is not there."""

from pathlib import Path

from serving import Server, free_port, start_server

CONFIG = """
[[dimse.nodes]]
name = "NIGHT_PACS"
ae_title = "PACS"
address = "127.0.0.1:{port}"
[outbox]
first_retry_seconds = 600
[[rules]]
name = "{rule}"
quiet_seconds = 0
when = {{ Modality = "MR", slices = {{ min = 2 }}, not = {{ SeriesDescription = "*SCOUT*" }} }}
then = {{ forward = ["NIGHT_PACS"] }}
"""


def start_copying(folder: Path, rule: str) -> Server:
    """Starts it; `rule` is its rule's name."""
    config = folder / "config.toml"
    config.write_text(CONFIG.format(rule=rule, port=free_port()))
    return start_server(folder / "data", config=config)
