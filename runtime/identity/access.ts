import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Access, access, Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { currentCall, type Identity } from "../call-context.js";
import { meshError } from "../errors.js";

/** The lowest role that an access level asks for. */
const NEEDED_ROLE = {
  [Access.READER]: Role.READER,
  [Access.WRITER]: Role.WRITER,
  [Access.ADMIN]: Role.ADMIN,
} as const;

/** What callers need for an RPC, by its option in the proto; UNSPECIFIED, which nobody has, where it has none. */
export function accessOf(method: DescMethod): Access {
  let level = known.get(method);
  if (level === undefined) {
    level = hasOption(method, access) ? getOption(method, access) : Access.UNSPECIFIED;
    known.set(method, level);
  }
  return level;
}

/** Reading an option decodes it, which costs ten times what the rest of a call's check does. */
const known = new WeakMap<DescMethod, Access>();

/**
 * Lets a caller pass who may call `method`. A service that works for a caller
 * passes whatever that caller's roles are: they were checked where the work began.
 * @throws PERMISSION_DENIED naming the role that is needed
 */
export function requireAccess(identity: Identity, method: DescMethod): void {
  const level = accessOf(method);
  if (level === Access.PUBLIC || identity.service !== undefined) return;
  const needed = level === Access.UNSPECIFIED ? undefined : NEEDED_ROLE[level];
  // The roles contain each other, in the order of their numbers.
  if (needed !== undefined && identity.roles?.some((role) => role >= needed)) return;
  const role = needed === undefined ? "none" : roleName(needed);
  throw meshError(Code.PermissionDenied, ErrorReason.ROLE_MISSING, `${method.name} needs the role ${role}.`, { metadata: { role } });
}

/** Lets services of the mesh and its operator pass: for what is about all tenants. Throws PERMISSION_DENIED with `refusal` else. */
export function requireMeshService(refusal: string): void {
  const { service, operator } = currentCall()?.identity ?? {};
  if (service === undefined && operator !== true) throw meshError(Code.PermissionDenied, ErrorReason.ROLE_MISSING, refusal);
}

/** A role as people write it: "reader", "writer" or "admin". */
export function roleName(role: Role): string {
  return Role[role].toLowerCase();
}

/** The role of that name; undefined when there is none. */
export function roleNamed(name: unknown): Role | undefined {
  return [Role.READER, Role.WRITER, Role.ADMIN].find((role) => roleName(role) === name);
}
