/* mathf.h - exp, log, sin, cos and powers from + - * / sqrt and integer operations only, so that
 * every compiler and instruction set gives the same bits (-ffp-contract=off). At most 1.5 ulp.
 */
#ifndef SLM_BASE_MATHF_H
#define SLM_BASE_MATHF_H

#include "slm.h"

/* e^x in f32; x is clamped to [-87.33, 88.37]. NaN gives some finite number. */
float slm_exp(float x);

/* tanh x in f32, within 1.5 ulp; keeps the sign of a zero. */
float slm_tanh(float x);

/* Natural logarithm in f64 of a positive finite x (> 0), within 2 ulp of f64. */
double slm_log(double x);

/* e^x in f64, |x| <= 700, within 2 ulp. */
double slm_exp64(double x);

/* sin and cos of x, |x| < 2^27, correctly rounded to f32 but for rare ties (f64 inside). */
void slm_sincos(double x, float *sine, float *cosine);

#endif
