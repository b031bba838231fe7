// The short path of a user of the official JavaScript client; prints what it saw as JSON.
// node path.mjs URL USER PASSWORD FOLDER
import fs from "node:fs";
import path from "node:path";
import client from "@openeo/js-client";
import graphs from "@openeo/js-processgraphs";

const [url, user, password, folder] = process.argv.slice(2);
const told = {};

// What the client throws holds its whole connection; its words suffice.
process.on("uncaughtException", (error) => {
  console.error(error.code, error.message, error.stack);
  process.exit(1);
});

async function failure(action) {
  try {
    await action();
  } catch (error) {
    return { message: error.message, code: error.code };
  }
  return null;
}

const connection = await client.OpenEO.connect(url);
const capabilities = connection.capabilities();
told.version = capabilities.apiVersion();
told.lacking = ["listCollections", "describeCollection", "listProcesses", "computeResult",
  "createJob", "estimateJob", "startJob", "stopJob", "listResults", "createService",
  "setUserProcess", "validateProcess", "uploadFile", "listUdfRuntimes", "listServiceTypes",
  "authenticateBasic", "authenticateOIDC", "debugJob", "debugService", "describeAccount",
  "listFileTypes", "describeCollectionQueryables"].filter((name) => !capabilities.hasFeature(name));
told.refused = await failure(() => connection.listJobs());
told.wrong = await failure(() => connection.authenticateBasic(user, "wrong"));
await connection.authenticateBasic(user, password);
told.account = await connection.describeAccount();

told.collections = (await connection.listCollections()).collections.map((entry) => entry.id);
const collection = await connection.describeCollection("SENTINEL2_L2A");
told.dimensions = Object.keys(collection["cube:dimensions"]);
told.outputs = Object.keys((await connection.listFileTypes()).getOutputTypes());
told.runtimes = Object.keys(await connection.listUdfRuntimes());
told.services = Object.keys(await connection.listServiceTypes());

// The builder makes its methods from our specifications of processes.
const builder = await connection.buildProcess();
const cube = builder.load_collection(
  "SENTINEL2_L2A",
  { west: 680000, south: 5151500, east: 680100, north: 5151600, crs: "EPSG:32632" },
  ["2022-06-01", "2022-06-03"],
  ["B04", "B08"],
);
const ndvi = builder.reduce_dimension(cube, new client.Formula("($B08 - $B04) / ($B08 + $B04)"), "bands");
const result = builder.save_result(ndvi, "GTiff");

// An independent validator reads the same specifications.
const registry = new graphs.ProcessRegistry((await connection.listProcesses()).processes);
result.result = true;
const parsed = new graphs.ProcessGraph(builder.toJSON(), registry);
told.parsed = (await parsed.validate(false)).toJSON();
told.validated = await connection.validateProcess(result);

await connection.downloadResult(result, path.join(folder, "result.tiff"));
told.result = "result.tiff";

const job = await connection.createJob(result, "NDVI", "From JavaScript");
told.created = job.status;
told.estimate = await job.estimateJob();
await job.startJob();
const seen = [];
await new Promise((resolve) => {
  const stop = job.monitorJob((current, logs) => {
    seen.push(...logs);
    if (["finished", "error", "canceled"].includes(current.status)) {
      stop();
      resolve();
    }
  }, 1);
});
told.finished = job.status;
told.logs = seen.map((entry) => entry.level);
fs.mkdirSync(path.join(folder, "job"));
told.files = (await job.downloadResults(path.join(folder, "job"))).map((file) => path.relative(folder, file));
told.jobs = (await connection.listJobs()).map((entry) => entry.id === job.id);
await job.deleteJob();

const service = await connection.createService(result, "XYZ", "NDVI");
told.service = { type: service.type, url: service.url, enabled: service.enabled };
await service.deleteService();

const sum = await connection.buildProcess("plus_one");
const added = sum.add(new client.Parameter("x", "number", "A number"), 1);
added.result = true;
const kept = await connection.setUserProcess("plus_one", sum.toJSON());
told.process = kept.id;
await kept.deleteUserProcess();

fs.writeFileSync(path.join(folder, "given.txt"), "from JavaScript");
const file = await connection.uploadFile(path.join(folder, "given.txt"), "notes/given.txt");
told.uploaded = (await connection.listFiles()).map((entry) => entry.path);
await file.downloadFile(path.join(folder, "fetched.txt"));
told.fetched = fs.readFileSync(path.join(folder, "fetched.txt"), "utf8");
await file.deleteFile();
told.left = (await connection.listFiles()).length;

console.log(JSON.stringify(told));
