// Private to gateway: what a PostgreSQL store of limits holds.
#pragma once

namespace hadal::gateway {

// Text for one simple query, which is one transaction: tables and functions, made when they are not
// there. Gateways that begin at the same moment wait for each other. The number in a function's
// name changes with what it does, so that gateways of two versions can share a store; what rows
// mean does not change.
extern const char* const kPostgresSchema;
// Each one statement with parameters in the order of the functions'.
extern const char* const kPostgresAdmit;   // gives bigint[], see shared_limits_stores.h
extern const char* const kPostgresSettle;  // gives nothing of use
extern const char* const kPostgresRenew;
// Gives a row when schema and functions are there.
extern const char* const kPostgresIsThere;

}  // namespace hadal::gateway
