import { Role } from "../../gen/ragents/auth/v1/access_pb.js";
import { currentCall } from "../call-context.js";
import { roleName } from "./access.js";

/**
 * Who looks: the names under which access lists may let them in, such as "user:ada" and "role:reader"; undefined sees
 * everything.
 */
export type Viewer = readonly string[] | undefined;

/**
 * The current caller as access lists know it: its user, and its role with those that the role contains. Administrators see
 * everything.
 */
export function currentViewer(): Viewer {
  const { user, roles = [] } = currentCall()?.identity ?? {};
  if (roles.includes(Role.ADMIN)) return undefined;
  const contained = [Role.READER, Role.WRITER].filter((role) => roles.some((held) => held >= role));
  return [...(user === undefined ? [] : [`user:${user}`]), ...contained.map((role) => `role:${roleName(role)}`)];
}
