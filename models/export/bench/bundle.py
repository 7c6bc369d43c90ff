"""A bundle's graphs as functions of arrays, run as Engram's engine runs them, and timed."""

import tomllib
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime

Array = np.ndarray
MOST_ROWS = 16
BUDGET = 4 << 30  # bytes of one computation, as estimated by server/inference/src/budget.rs


class Bundle:
    def __init__(self, folder: Path, threads: int):
        manifest = tomllib.loads((folder / "bundle.toml").read_text(encoding="utf-8"))
        self.input, self.retrieval = manifest["input"], manifest["retrieval"]
        self.sizes, self.memory = manifest["features"], manifest["memory"]
        self.pointers, self.prompts = manifest["pointers"], manifest["prompts"]
        self.constants = {
            name: np.fromfile(folder / tensor["file"], "<f4")
            for name, tensor in manifest.get("tensors", {}).items()
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.sessions = {
            name: onnxruntime.InferenceSession(
                str(folder / graph["file"]), options, ["CPUExecutionProvider"]
            )
            for name, graph in manifest["graphs"].items()
        }
        self.seconds = 0.0  # inside ONNX Runtime

    def run(self, graph: str, outputs: list[str], shared: dict[str, Array], **rows: Array) -> list:
        """Answers as many rows as it was given; `shared` inputs are the same for all."""
        memories = rows["memories"].shape[1] if "memories" in rows else 0
        count, most = len(next(iter(rows.values()))), self.most_rows(graph, memories)
        parts = []
        for first in range(0, count, most):
            feed = {name: value[first : first + most] for name, value in rows.items()}
            start = perf_counter()
            parts.append(self.sessions[graph].run(outputs, feed | shared))
            self.seconds += perf_counter() - start
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def most_rows(self, graph: str, memories: int) -> int:
        return min(max(BUDGET // self.row_bytes(graph, memories), 1), MOST_ROWS)

    def most_memories(self) -> int:
        none, one = (self.row_bytes("memory_attention", count) for count in (0, 1))
        return (BUDGET - none) // (one - none)

    def row_bytes(self, graph: str, memories: int) -> int:
        f, image = self.sizes, self.input["image_size"] ** 2
        channels, cells = max(f["embed_channels"], f["cond_channels"]), f["embed_size"] ** 2
        places = f["memory_size"] ** 2 * memories
        chunk = min(f.get("attention_chunk", 0) or cells, cells)
        fine = sum(
            f[f"high_res_{level}_channels"] * f[f"high_res_{level}_size"] ** 2 for level in (0, 1)
        )
        numbers = {
            "retrieval": 3 * self.retrieval["image_size"] ** 2 * 64,
            "image_encoder": 3 * image * 64,
            "memory_encoder": image * 64,
            "memory_attention": chunk * places * 16
            + (channels * cells + places * f["memory_channels"]) * 24,
            "mask_decoder": (fine + f["mask_tokens"] * f["mask_size"] ** 2) * 8,
            "mask_downsample": image * 8,
            "prompt_encoder": f["cond_channels"] * cells * 8,
        }
        return numbers[graph] * 4

    def rows_at_once(self, memories: int) -> int:
        """Rows that share a call of memory attention with so many memories."""
        cells = self.sizes["memory_size"] ** 2
        chunk = min(self.sizes.get("attention_chunk", 0) or cells, cells)
        row = memories * cells * (self.sizes["memory_channels"] + 12 * chunk) * 4
        return min(max((320 << 20) // max(row, 1), 1), MOST_ROWS)

    @property
    def no_pointer(self) -> Array:
        return self.constants.get("no_obj_ptr", np.zeros(self.pointers["dim"], np.float32))
