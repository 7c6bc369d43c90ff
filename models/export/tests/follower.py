"""The parity cases followed with a bundle's graphs alone, as the contract says."""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

CLAMP = 32.0  # an earlier mask's logits, when they go back in with clicks
GIVEN = 10.0  # the logits of a given mask


class Bundle:
    """The sessions and numbers of a bundle."""

    def __init__(self, folder: Path):
        self.manifest = tomllib.loads((folder / "bundle.toml").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.sessions = {
            name: onnxruntime.InferenceSession(
                str(folder / graph["file"]), options, ["CPUExecutionProvider"]
            )
            for name, graph in self.manifest["graphs"].items()
        }
        self.tensors = {
            name: np.fromfile(folder / tensor["file"], "<f4")
            for name, tensor in self.manifest["tensors"].items()
        }

    def run(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        session = self.sessions[name]
        outputs = [o.name for o in session.get_outputs()]
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))


class Follower:
    """One object on one sequence."""

    def __init__(self, bundle: Bundle, images: np.ndarray, features: dict):
        self.bundle, self.images, self.features = bundle, images, features
        m = bundle.manifest
        self.size, self.side = m["input"]["image_size"], m["features"]["mask_size"]
        self.memory, self.pointers, self.prompts = m["memory"], m["pointers"], m["prompts"]
        self.conditioning: dict[int, dict] = {}
        self.recent: dict[int, dict] = {}
        self.pending: dict[int, dict] = {}
        self.points: dict[int, tuple] = {}
        self.reverse: dict[int, bool] = {}

    def encoded(self, frame: int) -> dict[str, np.ndarray]:
        if frame not in self.features:
            self.features[frame] = self.bundle.run("image_encoder", image=self.images[frame][None])
        return self.features[frame]

    def add_mask(self, frame: int, mask: np.ndarray) -> dict:
        self.points.pop(frame, None)
        given = mask[None, None].astype(np.float32)
        prompt = self.bundle.run("mask_downsample", mask=given)["mask_prompt"]
        found = self.decode(self.encoded(frame)["image_embed"], frame, [], [], prompt)
        there = bool(mask.any()) and found["object_score"][0, 0] > 0
        logits = torch.from_numpy(given * 2 * GIVEN - GIVEN)
        small = F.interpolate(
            logits, size=(self.side, self.side), mode="bilinear", antialias=True
        ).numpy()
        self.pending[frame] = {
            "logits": small[0, 0],
            "score": GIVEN if mask.any() else -GIVEN,
            "pointer": found["obj_ptr"][0, 0] if there else self.bundle.tensors["no_obj_ptr"],
        }
        return self.pending[frame]

    def add_points(self, frame: int, event: dict) -> dict:
        points, labels = list(event["points"]), list(event["labels"])
        if event["box"]:
            left, top, right, bottom = event["box"]
            points, labels = [[left, top], [right, bottom], *points], [2, 3, *labels]
        if not event["clear_old"] and frame in self.points:
            points, labels = self.points[frame][0] + points, self.points[frame][1] + labels
        self.points[frame] = points, labels
        before = self.pending.get(frame) or self.conditioning.get(frame) or self.recent.get(frame)
        prompt = None
        if before is not None:
            prompt = np.clip(before["logits"], -CLAMP, CLAMP)[None, None]
        if frame in self.reverse:
            cond, looked = self.attend(frame, self.reverse[frame])
        else:
            cond, looked = self.plain(frame), (0, [])
        found = self.decode(cond, frame, points, labels, prompt)
        self.pending[frame] = self.chosen(found, len(points)) | {"looked": looked}
        return self.pending[frame]

    def plain(self, frame: int) -> np.ndarray:
        return (
            self.encoded(frame)["image_embed"] + self.bundle.tensors["no_mem_embed"][:, None, None]
        )

    def decode(self, cond, frame: int, points: list, labels: list, prompt) -> dict:
        points, labels = (points, labels) if points else ([[0.0, 0.0]], [-1])
        given = np.zeros((1, 1, self.side, self.side), np.float32) if prompt is None else prompt
        encoded = self.bundle.run(
            "prompt_encoder",
            points=np.array(points, np.float32)[None],
            labels=np.array(labels, np.int64)[None],
            mask_input=given,
            has_mask=np.array([[prompt is not None]], np.float32),
        )
        here = self.encoded(frame)
        return self.bundle.run(
            "mask_decoder",
            cond_embed=cond,
            high_res_0=here["high_res_0"],
            high_res_1=here["high_res_1"],
            **encoded,
        )

    def chosen(self, found: dict, points: int) -> dict:
        """The mask that counts, and its pointer: the best of three after at most one point; else
        the single one, whose mask gives way to the best of three where it is not stable."""
        best = 1 + int(found["iou"][0, 1:].argmax())
        mask = token = best
        if points > 1:
            token = 0
            delta = self.prompts["stability_delta"]
            logits = found["masks"][0, 0]
            inner, outer = (logits > delta).sum(), (logits > -delta).sum()
            stable = outer == 0 or inner / outer >= self.prompts["stability_threshold"]
            mask = 0 if stable else best
        score = float(found["object_score"][0, 0])
        there = score > 0
        logits = found["masks"][0, mask]
        return {
            "logits": logits if there else np.full_like(logits, self.memory["absent_logit"]),
            "score": score,
            "pointer": found["obj_ptr"][0, token] if there else self.bundle.tensors["no_obj_ptr"],
        }

    def remember(self, frame: int, out: dict, prompted: bool) -> None:
        logits = torch.from_numpy(out["logits"])[None, None]
        full = F.interpolate(logits, size=(self.size, self.size), mode="bilinear").numpy()
        soft = torch.from_numpy(full).sigmoid().numpy()
        mask = (full > 0).astype(np.float32) if prompted else soft
        out["memory"] = self.bundle.run(
            "memory_encoder",
            image_embed=self.encoded(frame)["image_embed"],
            mask_for_mem=mask * self.memory["mask_scale"] + self.memory["mask_bias"],
            object_score=np.array([[out["score"]]], np.float32),
        )["memory"][0]

    def attend(self, frame: int, reverse: bool) -> tuple[np.ndarray, tuple]:
        step = 1 if reverse else -1
        outs = list(self.conditioning.values())
        times = [self.memory["conditioning_tpos"]] * len(outs)
        for away in range(self.memory["recent_memories"], 0, -1):
            if out := self.recent.get(frame + step * away):
                outs.append(out)
                times.append(away - 1)
        most = min(len(self.images), self.pointers["most"])
        kept = [
            (out["pointer"], (frame - at) * -step)
            for at, out in self.conditioning.items()
            if (at >= frame if reverse else at <= frame)
        ]
        for away in range(1, most):
            if out := self.recent.get(frame + step * away):
                kept.append((out["pointer"], away))
        divisor = max(1, most - 1)
        dim = self.pointers["dim"]
        distances = np.array([d for _, d in kept], np.float32) / np.float32(divisor)
        cond = self.bundle.run(
            "memory_attention",
            image_embed=self.encoded(frame)["image_embed"],
            memories=np.stack([out["memory"] for out in outs])[None],
            tpos_idx=np.array(times, np.int64),
            obj_ptrs=np.array([p for p, _ in kept], np.float32).reshape(1, len(kept), dim),
            ptr_tdiff=distances,
        )["cond_embed"]
        return cond, (len(outs), distances.tolist())

    def settle(self) -> None:
        """What was prompted becomes conditioning memory, before anything is tracked."""
        for frame, out in self.pending.items():
            self.remember(frame, out, prompted=True)
            self.conditioning[frame] = out
            self.recent.pop(frame, None)
        self.pending.clear()

    def track(self, frame: int, reverse: bool) -> dict:
        out = self.conditioning.get(frame)
        if out is None:
            cond, looked = self.attend(frame, reverse)
            out = self.chosen(self.decode(cond, frame, [], [], None), 0) | {"looked": looked}
            self.remember(frame, out, prompted=False)
            self.recent[frame] = out
        self.reverse[frame] = reverse
        return out


def follow(bundle: Bundle, folder: Path) -> list[tuple[str, float, bool]]:
    """Follows a case; for each answer: where it is, its logits' error as a share of the largest
    one, and whether the object's presence, the memories and the distances agree."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    images = read(folder, case["images"], "<f4")
    masks, logits = read(folder, case["masks"], "u1"), read(folder, case["logits"], "<f4")
    objects: dict[int, Follower] = {}
    features: dict[int, dict] = {}
    found = []

    def compare(place: str, out: dict, want: dict) -> None:
        expected = logits[want["logits"]]
        error = float(np.abs(out["logits"] - expected).max() / np.abs(expected).max())
        agrees = (out["score"] > 0) == (want["object_score"] > 0)
        if "looked" in out and "memories" in want:
            agrees &= out["looked"][0] == want["memories"]
            agrees &= np.allclose(out["looked"][1], want["distances"])
        found.append((place, error, agrees))

    for number, event in enumerate(case["events"]):
        place = f"{case['name']} {number} {event['kind']}"
        if event["kind"] == "propagate":
            for follower in objects.values():
                follower.settle()
            for step in event["steps"]:
                out = objects[step["object"]].track(step["frame"], event["reverse"])
                compare(f"{place} slice {step['frame']}", out, step)
            continue
        follower = objects.setdefault(event["object"], Follower(bundle, images, features))
        if event["kind"] == "add_mask":
            out = follower.add_mask(event["frame"], masks[event["mask"]])
        else:
            out = follower.add_points(event["frame"], event)
        compare(place, out, event["answer"])
    return found


def read(folder: Path, array: dict, kind: str) -> np.ndarray:
    return np.fromfile(folder / array["file"], kind).reshape(array["shape"])
