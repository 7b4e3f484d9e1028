import { expect, test } from "vitest";
import { Access } from "../../gen/ragents/auth/v1/access_pb.js";
import { accessOf } from "../../runtime/identity/access.js";
import { allServices } from "../support/services.js";

test("every RPC says who may call it", async () => {
  const services = await allServices();
  expect(services.length).toBeGreaterThanOrEqual(7);
  const closed = services.flatMap(({ typeName, methods }) =>
    methods.filter((method) => accessOf(method) === Access.UNSPECIFIED).map(({ name }) => `${typeName}/${name}`),
  );
  expect(closed, "nobody can call these: give each `option (ragents.auth.v1.access) = ACCESS_READER;`, _WRITER or _ADMIN").toEqual([]);
});

test("only what belongs to no tenant is open to everybody", async () => {
  const open = (await allServices()).flatMap(({ methods }) => methods.filter((method) => accessOf(method) === Access.PUBLIC).map(({ name }) => name));
  expect(open).toEqual(["GetHealth"]);
});

test("what reads asks for less than what changes", async () => {
  const readers = (await allServices()).flatMap(({ methods }) =>
    methods.filter((method) => accessOf(method) === Access.READER && /^(Create|Put|Delete|Clear|Invalidate|Revoke|Ingest|Upload|Prune)/.test(method.name)),
  );
  expect(readers.map(({ name }) => name)).toEqual([]);
});
