// DICOM JSON (PS3.18 Annex F) and words of DICOM for people.

export const TAGS = {
  StudyDate: "00080020",
  StudyTime: "00080030",
  Modality: "00080060",
  ModalitiesInStudy: "00080061",
  AccessionNumber: "00080050",
  StudyDescription: "00081030",
  SeriesDescription: "0008103E",
  PatientName: "00100010",
  PatientID: "00100020",
  PatientBirthDate: "00100030",
  PatientSex: "00100040",
  StudyInstanceUID: "0020000D",
  SeriesInstanceUID: "0020000E",
  SOPInstanceUID: "00080018",
  SOPClassUID: "00080016",
  SeriesNumber: "00200011",
  InstanceNumber: "00200013",
  ImagePositionPatient: "00200032",
  ImageOrientationPatient: "00200037",
  PixelSpacing: "00280030",
  PixelAspectRatio: "00280034",
  Rows: "00280010",
  Columns: "00280011",
  NumberOfFrames: "00280008",
  NumberOfStudyRelatedSeries: "00201206",
  NumberOfStudyRelatedInstances: "00201208",
  NumberOfSeriesRelatedInstances: "00201209",
};

/** What `slicesOf` needs of an instance. */
export const GEOMETRY =
  "InstanceNumber,ImagePositionPatient,ImageOrientationPatient,PixelSpacing,PixelAspectRatio,NumberOfFrames,Rows,Columns";

/** The values of an attribute. */
export const values = (dataset, keyword) => dataset[TAGS[keyword]]?.Value ?? [];

/** Its first value as text, empty where there is none. */
export function text(dataset, keyword) {
  const value = values(dataset, keyword)[0];
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? personName(value) : String(value);
}

/** PN: family name, then the others. */
function personName(name) {
  const [family = "", ...given] = (name.Alphabetic ?? name.Ideographic ?? name.Phonetic ?? "").split("^");
  const rest = given.filter(Boolean).join(" ");
  return rest ? `${family}, ${rest}` : family;
}

/** DA as ISO 8601 writes it. */
export function date(text) {
  return /^\d{8}$/.test(text) ? `${text.slice(0, 4)}-${text.slice(4, 6)}-${text.slice(6)}` : text;
}

/** What a study is called. */
export const patient = (dataset) => text(dataset, "PatientName") || text(dataset, "PatientID") || "No name";

/** Whether series of this modality have pictures that can be segmented. */
export const isImage = (modality) =>
  !["SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "DOC", "AU", "ECG"].includes(modality);

/** What people read: structured reports, key object notes, encapsulated documents. */
export const isDocument = (modality) => ["SR", "KO", "DOC"].includes(modality);

/** The slices of a series from its instances' data sets, in the order they lie: along the normal, else by number. */
export function slicesOf(instances) {
  const slices = instances.flatMap((dataset) => {
    const frames = Number(text(dataset, "NumberOfFrames")) || 1;
    return Array.from({ length: frames }, (_, index) => ({
      instance: text(dataset, "SOPInstanceUID"),
      frame: index + 1,
      frames,
      number: Number(text(dataset, "InstanceNumber")) || 0,
      along: along(dataset),
      rows: Number(text(dataset, "Rows")),
      columns: Number(text(dataset, "Columns")),
      aspect: aspect(dataset),
    }));
  });
  const isPlaced = slices.every((slice) => slice.along !== null);
  const key = (slice) => (isPlaced ? slice.along : slice.number);
  return slices.sort((a, b) => key(a) - key(b) || a.number - b.number || a.frame - b.frame);
}

/** How far an image lies along its normal, mm. */
function along(dataset) {
  const [x, y, z] = values(dataset, "ImagePositionPatient").map(Number);
  const [ax, ay, az, bx, by, bz] = values(dataset, "ImageOrientationPatient").map(Number);
  const distance = x * (ay * bz - az * by) + y * (az * bx - ax * bz) + z * (ax * by - ay * bx);
  return Number.isFinite(distance) ? distance : null;
}

/** Height of a pixel by its width. */
function aspect(dataset) {
  const [down, across] = [values(dataset, "PixelSpacing"), values(dataset, "PixelAspectRatio")]
    .map((pair) => pair.map(Number))
    .find((pair) => pair.length === 2 && pair.every((side) => side > 0)) ?? [1, 1];
  return down / across;
}

/** Milliseconds since 1970 as local date and time. */
export function moment(milliseconds) {
  if (!milliseconds) return "";
  const local = new Date(milliseconds - new Date(milliseconds).getTimezoneOffset() * 60000);
  return local.toISOString().slice(0, 19).replace("T", " ");
}

/** Seconds for people. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** One or many. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
