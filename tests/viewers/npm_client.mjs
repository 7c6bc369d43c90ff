// What a JavaScript program does with npm's dicomweb-client, whose XMLHttpRequest is xhr2's here:
//
//     node npm_client.mjs BASE TOKEN FILE OUT
//
// stores FILE, then searches and retrieves it in every way. Writes each answer to the folder OUT, under the name of the
// call: JSON as it is, bytes as they are. Ends with the HTTP status of the first request that is refused, as text.
import fs from 'node:fs';
import path from 'node:path';
import XMLHttpRequest from 'xhr2';
import { api } from 'dicomweb-client';

globalThis.XMLHttpRequest = XMLHttpRequest;
const [base, token, file, out] = process.argv.slice(2);
// In a browser, the page's own address is what relative references start from.
XMLHttpRequest.nodejsSet({ baseUrl: `${base}/` });

const client = new api.DICOMwebClient({
  url: `${base}/dicomweb`,
  headers: { Authorization: `Bearer ${token}` },
  verbose: false,
});

function keep(name, answer) {
  const bytes = answer instanceof ArrayBuffer ? Buffer.from(answer) : JSON.stringify(answer);
  fs.writeFileSync(path.join(out, name), bytes);
}

const first = ([one]) => one;
const only = { mediaTypes: [{ mediaType: 'image/png' }] };

async function everything() {
  const dataset = fs.readFileSync(file);
  const { buffer, byteOffset, byteLength } = dataset;
  const datasets = [buffer.slice(byteOffset, byteOffset + byteLength)];
  keep('storeInstances', JSON.parse(await client.storeInstances({ datasets })));

  const [found] = await client.searchForInstances({ queryParams: { limit: 1 } });
  const value = tag => found[tag].Value[0];
  const study = { studyInstanceUID: value('0020000D') };
  const series = { ...study, seriesInstanceUID: value('0020000E') };
  const instance = { ...series, sopInstanceUID: value('00080018') };
  const frames = { ...instance, frameNumbers: [1] };

  keep('searchForStudies', await client.searchForStudies({ queryParams: { PatientID: 'P1' } }));
  keep('searchForSeries', await client.searchForSeries(study));
  keep('searchForInstances', await client.searchForInstances(series));
  keep('retrieveStudyMetadata', await client.retrieveStudyMetadata(study));
  keep('retrieveSeriesMetadata', await client.retrieveSeriesMetadata(series));
  const metadata = await client.retrieveInstanceMetadata(instance);
  keep('retrieveInstanceMetadata', metadata);
  keep('retrieveStudy', first(await client.retrieveStudy(study)));
  keep('retrieveSeries', first(await client.retrieveSeries(series)));
  keep('retrieveInstance', await client.retrieveInstance(instance));
  keep('retrieveInstanceFrames', first(await client.retrieveInstanceFrames(frames)));
  const bulk = { BulkDataURI: metadata[0]['7FE00010'].BulkDataURI };
  keep('retrieveBulkData', first(await client.retrieveBulkData(bulk)));
  keep('retrieveInstanceRendered', first(await client.retrieveInstanceRendered({ ...instance, ...only })));
  keep('retrieveInstanceFramesRendered', first(await client.retrieveInstanceFramesRendered({ ...frames, ...only })));
  keep('retrieveInstanceThumbnail', first(await client.retrieveInstanceThumbnail({ ...instance, ...only })));
}

everything().catch(error => {
  if (!error.status) throw error;
  console.log(error.status);
});
