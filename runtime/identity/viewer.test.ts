import { expect, test } from "vitest";
import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { backgroundCall, LOCAL_IDENTITY, runInCall } from "../call-context.js";
import { currentViewer } from "./viewer.js";

test.each([
  { name: "everyone, while there are no keys", identity: LOCAL_IDENTITY, viewer: undefined },
  { name: "an administrator", identity: { tenant: "t", user: "ada", roles: [Role.ADMIN] }, viewer: undefined },
  { name: "a writer", identity: { tenant: "t", user: "ada", roles: [Role.WRITER] }, viewer: ["user:ada", "role:reader", "role:writer"] },
  { name: "a reader", identity: { tenant: "t", user: "ada", roles: [Role.READER] }, viewer: ["user:ada", "role:reader"] },
  { name: "a reader without a name", identity: { tenant: "t", roles: [Role.READER] }, viewer: ["role:reader"] },
  { name: "a caller without a role", identity: { tenant: "t" }, viewer: [] },
])("$name looks as $viewer", ({ identity, viewer }) => {
  const call = backgroundCall(identity, "request", new AbortController().signal);
  expect(runInCall(call, currentViewer)).toEqual(viewer);
});
