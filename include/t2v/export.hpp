// SPDX-License-Identifier: Apache-2.0
// Marks what libt2v.so gives to other programs; everything else in it stays hidden.
#pragma once

#if defined(__GNUC__)
#define T2V_API __attribute__((visibility("default")))
#else
#define T2V_API
#endif
