export { createRagClient, type RagClient, type RagClientOptions } from "./rag-client.js";
export { type UploadOptions, type UploadSource, uploadFiles } from "./upload-files.js";
