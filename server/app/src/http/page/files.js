// Files from a chooser or a drop, one after another, whole folders included.

const MAGIC_AT = 128;

/** Files of a chooser: `{file, path}` each. */
export async function* chosen(files) {
  for (const file of files) yield { file, path: file.webkitRelativePath || file.name };
}

/** Files of a drop, folders looked through as it goes. To be called while the event is handled: then it is empty. */
export function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  return walk(entries.filter(Boolean));
}

async function* walk(entries) {
  for (const entry of entries) {
    if (entry instanceof File) yield { file: entry, path: entry.name };
    else if (entry.isFile) yield await fileOf(entry);
    else yield* walkFolder(entry.createReader());
  }
}

function fileOf(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  return new Promise((resolve) =>
    entry.file(
      (file) => resolve({ file, path }),
      (error) => resolve({ error, path }),
    ),
  );
}

/** A reader gives some entries at a time, and none at the end. */
async function* walkFolder(reader) {
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    yield* walk(some);
  }
}

/** Whether a file has the mark of PS3.10 7.1. */
export async function isDicom(file) {
  const mark = await file.slice(MAGIC_AT, MAGIC_AT + 4).text();
  return mark === "DICM";
}
