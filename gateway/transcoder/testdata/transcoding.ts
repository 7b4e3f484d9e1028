import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  createFileRegistry,
  createRegistry,
  type DescFile,
  type DescMessage,
  type DescService,
  fromBinary,
} from "@bufbuild/protobuf";
import {
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { file_buf_validate_validate } from "../../../gen/buf/validate/validate_pb.js";
import { file_google_api_annotations } from "../../../gen/google/api/annotations_pb.js";

const imports = new Map<string, DescFile>(
  [
    file_buf_validate_validate,
    file_google_api_annotations,
    file_google_protobuf_any,
    file_google_protobuf_duration,
    file_google_protobuf_field_mask,
    file_google_protobuf_struct,
    file_google_protobuf_timestamp,
    file_google_protobuf_wrappers,
  ].map((file) => [`${file.name}.proto`, file]),
);

const compiled = fromBinary(FileDescriptorSetSchema, readFileSync(join(import.meta.dirname, "transcoding.binpb")));

/** The test protos as descriptors with comments. */
export const testFiles: readonly DescFile[] = compiled.file.map((file) =>
  createFileRegistry(file, (name) => imports.get(name)).getFile(file.name!)!,
);

/** All types of the test protos. */
export const testRegistry = createRegistry(...testFiles);

/** A message type of the test protos, by its short name. */
export function testMessage(name: string): DescMessage {
  return testRegistry.getMessage(`transcoding.v1.${name}`)!;
}

/** A service of the test protos, by its short name. */
export function testService(name: string): DescService {
  return testRegistry.getService(`transcoding.v1.${name}`)!;
}
